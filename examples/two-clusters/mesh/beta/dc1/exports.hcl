# What the other cluster may use. `alpha` is the name that beta gives to it.
Kind = "exported-services"
Name = "default"
Services = [
  { Name = "db", Consumers = [{ Peer = "alpha" }] },
  { Name = "reports", Consumers = [{ Peer = "alpha" }] },
  { Name = "stock", Consumers = [{ Peer = "alpha" }] },
]
