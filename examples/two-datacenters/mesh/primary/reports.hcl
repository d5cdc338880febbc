# reports sets no mode, and has no service-defaults: proxy-defaults.hcl applies.
service {
  name = "reports"
  port = 11003
  connect {
    sidecar_service {
      address = "127.0.1.13"
      port    = 21003
      check {
        tcp      = "127.0.1.13:21003"
        interval = "1s"
      }
      proxy {
        upstreams = [
          {
            destination_name = "api"
            datacenter       = "secondary"
            local_bind_port  = 10020
          },
        ]
      }
    }
  }
}
