service {
  name = "stock"
  port = 31002
  check {
    name   = "warehouse"
    status = "passing" # critical: nobody should come here
  }
  connect {
    sidecar_service {
      port = 31102
    }
  }
}
