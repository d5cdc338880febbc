service {
  name = "db"
  port = 32001
  connect {
    sidecar_service {
      port = 32101
    }
  }
}
