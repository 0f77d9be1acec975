"""NeMo Guardrails' trace file."""
