service {
  name = "api"
  port = 12001
  connect {
    sidecar_service {
      address = "127.0.2.11"
      port    = 22001
      check {
        tcp      = "127.0.2.11:22001"
        interval = "1s"
      }
    }
  }
}
