# The gateway of the datacenter secondary.
service {
  kind    = "mesh-gateway"
  name    = "gateway"
  address = "127.0.2.1" # where services of secondary reach it
  port    = 12443
  tagged_addresses {
    wan { # where the other datacenter reaches it
      address = "127.0.9.2"
      port    = 29443
    }
  }
  proxy {
    config {
      envoy_gateway_bind_tagged_addresses = true # listen on this address, too
    }
  }
}
