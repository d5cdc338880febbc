# The agent of primary: one server, whose state is in memory only (it is started with -dev).
datacenter         = "primary"
primary_datacenter = "primary"
node_name          = "server-primary"
bind_addr          = "127.0.1.10"
client_addr        = "127.0.1.10"
log_level          = "WARN"
ports {
  http     = 11500
  server   = 11300
  serf_lan = 11301
  serf_wan = 11302
  dns      = -1
  grpc     = -1
}
connect {
  enabled = true
}
