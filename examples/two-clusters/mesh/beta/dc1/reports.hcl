service {
  name = "reports"
  port = 32002
  connect {
    sidecar_service {
      port = 32102
    }
  }
}
