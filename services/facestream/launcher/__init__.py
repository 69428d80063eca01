"""Run all services on one machine: `facestream up`."""
