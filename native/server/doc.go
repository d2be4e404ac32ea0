// Package server runs the HTTP API of package api as a service: TLS, uploads spooled to disk, metrics for Prometheus, the page, and a shutdown that lets requests finish.
//
// # Limits
//
// One process; limits of requests are those of api.Config.
//
// # Errors
//
// Run returns what kept the service from listening or from ending in order.
//
// # Concurrency
//
// A Server runs once.
package server
