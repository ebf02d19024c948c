"""Systems of private CAs: one plug-in each, a file with `build` whose product is a `CertificateSource`."""
