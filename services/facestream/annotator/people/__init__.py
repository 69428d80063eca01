"""People in view: joins tracks and results, fuses predictions, keeps a short history."""
