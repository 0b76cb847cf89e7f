terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

# Endpoint, region and credentials come from the environment: eval "$(fairlead env)".
provider "aws" {}

variable "image" {
  default = "demo-tools:1"
}

variable "greeting" {
  default = "fair winds"
}

data "aws_ecs_cluster" "default" {
  cluster_name = "default"
}

resource "aws_cloudwatch_log_group" "hello" {
  name              = "/demo/hello"
  retention_in_days = 7
}

resource "aws_ssm_parameter" "greeting" {
  name  = "/demo/greeting"
  type  = "SecureString"
  value = var.greeting
}

resource "aws_ecs_task_definition" "hello" {
  family             = "hello"
  network_mode       = "bridge"
  execution_role_arn = "arn:aws:iam::000000000000:role/execution"
  container_definitions = jsonencode([{
    name         = "hello"
    image        = var.image
    memory       = 32
    stopTimeout  = 2
    command      = ["sh", "-c", "mkdir -p /www && echo \"$GREETING\" > /www/index.html && exec httpd -f -v -p 80 -h /www"]
    portMappings = [{ containerPort = 80 }]
    secrets      = [{ name = "GREETING", valueFrom = aws_ssm_parameter.greeting.arn }]
    healthCheck  = { command = ["CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1/"], interval = 5 }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.hello.name
        "awslogs-region"        = "us-east-1"
        "awslogs-stream-prefix" = "hello"
      }
    }
  }])
}

resource "aws_ecs_service" "hello" {
  name                  = "hello"
  cluster               = data.aws_ecs_cluster.default.arn
  task_definition       = aws_ecs_task_definition.hello.arn
  desired_count         = 2
  wait_for_steady_state = true

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  lifecycle {
    # Version 5 of the provider takes a deployment that was rolled back for a success.
    postcondition {
      condition     = self.task_definition == aws_ecs_task_definition.hello.arn
      error_message = "The deployment was rolled back: `fairlead explain service hello` says why."
    }
  }
}
