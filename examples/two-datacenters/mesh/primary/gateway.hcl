# The gateway of the datacenter primary.
service {
  kind    = "mesh-gateway"
  name    = "gateway"
  address = "127.0.1.1" # where services of primary reach it
  port    = 11443
  tagged_addresses {
    wan { # where the other datacenter reaches it
      address = "127.0.9.1"
      port    = 19443
    }
  }
  proxy {
    config {
      envoy_gateway_bind_tagged_addresses = true # listen on this address, too
    }
  }
}
