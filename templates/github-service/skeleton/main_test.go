package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		path   string
		status int
		part   string
	}{
		{"/", http.StatusOK, name},
		{"/healthz", http.StatusOK, "ok"},
		{"/nowhere", http.StatusNotFound, ""},
	} {
		answer := httptest.NewRecorder()
		routes().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, c.path, nil))
		if answer.Code != c.status || !strings.Contains(answer.Body.String(), c.part) {
			t.Errorf("%s: %d %q", c.path, answer.Code, answer.Body.String())
		}
	}
}
