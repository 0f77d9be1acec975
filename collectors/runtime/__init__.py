"""What every collector stands on: scheduler, threads, HTTP, credentials, the environment."""
