service {
  name = "stock"
  port = 32003
  connect {
    sidecar_service {
      port = 32103
    }
  }
}
