service {
  name = "logging"
  port = 12003
  connect {
    sidecar_service {
      address = "127.0.2.13"
      port    = 22003
      check {
        tcp      = "127.0.2.13:22003"
        interval = "1s"
      }
    }
  }
}
