"""What tests share: real databases, and a loud voice for what could not run."""
