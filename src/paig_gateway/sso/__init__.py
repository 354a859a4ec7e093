"""Single sign-on by OpenID Connect: who somebody is, as their identity provider says."""
