# When no stock is healthy here, that of the other cluster is used.
Kind = "service-resolver"
Name = "stock"
Failover = {
  "*" = {
    Targets = [{ Peer = "beta" }]
  }
}
