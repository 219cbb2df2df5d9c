//! Nothing: the tests are in `product` and `structure`, `stock` and `browser`.
