service {
  name = "stock"
  port = 31002
  check {
    name   = "warehouse"
    status = "passing" # set it to critical to make stock fail over to the other cluster
  }
  connect {
    sidecar_service {
      port = 31102
    }
  }
}
