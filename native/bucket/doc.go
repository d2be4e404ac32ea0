// Package bucket keeps folders in object storage, so that jobs on many machines share them: s3://NAME/PREFIX (also every server with its protocol, by endpoint=URL&use_path_style=true after a question mark) and
// file:///FOLDER, which is a plain folder of the host.
//
// A Mirror is one folder of a job. Pull brings down what an earlier run left, Push brings up what changed. Jobs are deterministic and say that they are done by a file that goes up last, so two machines that do the same
// one do no harm, and one that is lost costs its work since the last Push.
//
// # Errors
//
// Those of the storage, with the name of the object.
//
// # Concurrency
//
// A Mirror is for one goroutine; several of them, on one machine or many, may share a bucket.
package bucket
