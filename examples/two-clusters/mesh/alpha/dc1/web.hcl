# web uses two services of the cluster beta, each in a different mode, and one that both clusters have.
service {
  name = "web"
  port = 31001
  connect {
    sidecar_service {
      port = 31101
      proxy {
        upstreams = [
          {
            destination_name = "db"
            destination_peer = "beta"
            local_bind_port  = 31201 # web connects to db at 127.0.0.1:31201
            mesh_gateway {
              mode = "local" # through the gateway of alpha, which forwards to that of beta
            }
          },
          {
            destination_name = "reports"
            destination_peer = "beta"
            local_bind_port  = 31202
            mesh_gateway {
              mode = "remote" # through the gateway of beta
            }
          },
          {
            destination_name = "stock" # the one in alpha, as long as it is healthy there
            local_bind_port  = 31203
            mesh_gateway {
              mode = "local"
            }
          },
        ]
      }
    }
  }
}
