# For every instance of orders that does not say otherwise.
Kind = "service-defaults"
Name = "orders"
MeshGateway {
  Mode = "remote"
}
