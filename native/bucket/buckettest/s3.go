package buckettest

import (
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"
)

// S3 serves a bucket until the test is over and returns the URL of a folder in it, for this process and for those that it starts.
func S3(t *testing.T, folder string) string {
	t.Helper()
	objects := s3mem.New()
	require.NoError(t, objects.CreateBucket("jobs"))
	server := httptest.NewServer(gofakes3.New(objects).Server())
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "nobody")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "nothing")
	query := url.Values{"endpoint": {server.URL}, "region": {"us-east-1"}, "use_path_style": {"true"}}
	return "s3://jobs/" + folder + "?" + query.Encode()
}
