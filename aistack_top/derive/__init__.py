"""Signals computed from calls: latency and rate signals, guardrail statistics, tenants."""
