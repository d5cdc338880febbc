# For every service that nothing else is said of.
Kind = "proxy-defaults"
Name = "global"
MeshGateway {
  Mode = "local"
}
