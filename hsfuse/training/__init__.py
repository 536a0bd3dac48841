"""Training the networks: episodes simulated by Wald's protocol, and the loop over them."""
