"""Layer 7: guardrails."""
