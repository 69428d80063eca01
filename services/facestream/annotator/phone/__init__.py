"""Phone cameras in the browser: pairing link, upload slots, and the route that receives frames."""
