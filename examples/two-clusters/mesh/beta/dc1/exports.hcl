# The services that the other cluster may use. `alpha` is beta's name for it.
Kind = "exported-services"
Name = "default"
Services = [
  { Name = "db", Consumers = [{ Peer = "alpha" }] },
  { Name = "reports", Consumers = [{ Peer = "alpha" }] },
  { Name = "stock", Consumers = [{ Peer = "alpha" }] },
]
