# The agent of secondary. It joins that of primary, from which it has certificates and central configuration.
datacenter         = "secondary"
primary_datacenter = "primary"
node_name          = "server-secondary"
bind_addr          = "127.0.2.10"
client_addr        = "127.0.2.10"
retry_join_wan     = ["127.0.1.10:11302"]
retry_interval_wan = "1s"
log_level          = "WARN"
ports {
  http     = 12500
  server   = 12300
  serf_lan = 12301
  serf_wan = 12302
  dns      = -1
  grpc     = -1
}
connect {
  enabled = true
}
