//! GitHub actions: publish:github and friends
