# Not exported: no other cluster has a name for it.
service {
  name = "secret"
  port = 32004
  connect {
    sidecar_service {
      port = 32104
    }
  }
}
