# orders leaves the mode to its service-defaults: orders-defaults.hcl.
service {
  name = "orders"
  port = 11002
  connect {
    sidecar_service {
      address = "127.0.1.12"
      port    = 21002
      check {
        tcp      = "127.0.1.12:21002"
        interval = "1s"
      }
      proxy {
        upstreams = [
          {
            destination_name = "db"
            datacenter       = "secondary"
            local_bind_port  = 10010
          },
        ]
      }
    }
  }
}
