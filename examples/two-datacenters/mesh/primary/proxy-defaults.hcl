# Default for all services.
Kind = "proxy-defaults"
Name = "global"
MeshGateway {
  Mode = "local"
}
