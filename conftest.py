"""Every test folder of the checkout, the bridge's and the plugins' too, sees these."""

pytest_plugins = ["tests.support.loud", "tests.support.examples", "tests.support.databases", "tests.support.webkit"]
