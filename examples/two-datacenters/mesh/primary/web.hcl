# web uses four services, and sets the mode for those of the other datacenter itself.
service {
  name = "web"
  port = 11001
  connect {
    sidecar_service {
      address = "127.0.1.11"
      port    = 21001
      check {
        tcp      = "127.0.1.11:21001"
        interval = "1s"
      }
      proxy {
        mesh_gateway {
          mode = "remote" # default for its upstreams
        }
        upstreams = [
          {
            destination_name = "api"
            datacenter       = "secondary"
            local_bind_port  = 10000 # web connects to api at 127.0.0.1:10000
          },
          {
            destination_name = "db"
            datacenter       = "secondary"
            local_bind_port  = 10001
            mesh_gateway {
              mode = "local"
            }
          },
          {
            destination_name = "logging"
            datacenter       = "secondary"
            local_bind_port  = 10002
            mesh_gateway {
              mode = "none"
            }
          },
          {
            destination_name = "orders" # in the same datacenter: no gateway is needed
            local_bind_port  = 10003
          },
        ]
      }
    }
  }
}
