"""People counting: visits, zone and line crossings, stored counts, statistics and the webhook."""
