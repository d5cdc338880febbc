# Deny by default; only web of alpha may connect to what is exported to it.
config_entries {
  bootstrap {
    kind    = "service-intentions"
    name    = "*"
    sources = [{ name = "*", action = "deny" }]
  }
  bootstrap {
    kind    = "service-intentions"
    name    = "db"
    sources = [{ name = "web", peer = "alpha", action = "allow" }]
  }
  bootstrap {
    kind    = "service-intentions"
    name    = "reports"
    sources = [{ name = "web", peer = "alpha", action = "allow" }]
  }
  bootstrap {
    kind    = "service-intentions"
    name    = "stock"
    sources = [{ name = "web", peer = "alpha", action = "allow" }]
  }
}
