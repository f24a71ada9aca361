"""The tests of `StorageSuite`, a module for each part of the promises of `Storage`."""
