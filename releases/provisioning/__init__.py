"""What an environment in Google Cloud is made of: wanted against found makes a plan. No I/O."""
