# Default for all instances of orders.
Kind = "service-defaults"
Name = "orders"
MeshGateway {
  Mode = "remote"
}
