service {
  name = "db"
  port = 12002
  connect {
    sidecar_service {
      address = "127.0.2.12"
      port    = 22002
      check {
        tcp      = "127.0.2.12:22002"
        interval = "1s"
      }
    }
  }
}
