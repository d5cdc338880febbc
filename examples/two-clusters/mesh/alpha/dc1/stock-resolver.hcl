# If no instance of stock is healthy here, those of the other cluster are used.
Kind = "service-resolver"
Name = "stock"
Failover = {
  "*" = {
    Targets = [{ Peer = "beta" }]
  }
}
