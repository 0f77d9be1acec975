"""dcgm-exporter."""
