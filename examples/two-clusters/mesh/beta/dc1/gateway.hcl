# The gateway of the cluster beta.
service {
  kind    = "mesh-gateway"
  name    = "gateway"
  address = "127.0.0.1" # where services of beta reach it
  port    = 32443
  tagged_addresses {
    wan { # where the other cluster reaches it
      address = "127.0.0.1"
      port    = 32444
    }
  }
  proxy {
    config {
      envoy_gateway_bind_tagged_addresses = true # listen on this address, too
    }
  }
}
