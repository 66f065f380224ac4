"""The groups of the kit. Each is a class of tests over a `stand`; `suite` puts them together."""
