// Package client calls the HTTP API of metaprune (package api, `metaprune serve`, an edge worker).
//
// # Errors
//
// What the service refuses is an *api.Problem with its status and place.
//
// # Concurrency
//
// A Client is used by any number of goroutines.
package client
