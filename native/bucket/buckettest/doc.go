// Package buckettest serves buckets that speak S3's protocol to tests, from memory.
package buckettest
